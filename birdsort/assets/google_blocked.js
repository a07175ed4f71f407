// After google_tiles.js: whether the page asks for a proof that the visitor is a person.
const captcha = document.querySelector('iframe[src*=recaptcha], .g-recaptcha, form#captcha-form');
return !tiles.length && (/unusual traffic/i.test(document.body?.innerText) || !!captcha);
