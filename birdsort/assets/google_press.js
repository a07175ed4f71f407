// Press the first visible button whose text fits a pattern; whether there was one.
const [pattern, selector] = arguments;
const words = new RegExp(pattern, 'i');
const text = (button) => (button.value || button.innerText || '').trim();
const button = [...document.querySelectorAll(selector)].find(
  (b) => words.test(text(b)) && text(b).length < 60 && b.getClientRects().length,
);
if (button) button.click();
return !!button;
