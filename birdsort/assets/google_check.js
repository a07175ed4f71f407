// Whether the page is still loading, or shows nothing and only runs a script.
const body = document.body;
if (!body || document.readyState === 'loading') return true;
const shows = body.querySelector('img, form, button, a[href], iframe, input, video, canvas');
const runs = document.querySelector('script');
return !!runs && !shows && body.innerText.trim().length < 200;
