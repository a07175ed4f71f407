// Whether the page is still loading, or only runs a script. The check of a browser has links that are hidden,
// and a refresh for browsers without scripts; a page of results has that refresh, too, but shows images.
const body = document.body;
if (!body || document.readyState === 'loading') return true;
const isShown = (element) => element.getClientRects().length > 0;
const shows = (selector) => [...body.querySelectorAll(selector)].some(isShown);
const retries = [...document.querySelectorAll('noscript')].some((element) =>
  element.textContent.includes('/httpservice/retry/enablejs'),
);
const isEmpty = body.innerText.trim().length < 400 && !shows('img, form, button, iframe, input, video, canvas');
return !!document.querySelector('script') && isEmpty && (retries || !shows('a[href]'));
