const [words, where] = arguments,
  re = new RegExp(words, 'i'),
  text = (b) => (b.value || b.innerText || '').trim();
const b = [...document.querySelectorAll(where)].find(
  (b) => re.test(text(b)) && text(b).length < 60 && b.getClientRects().length,
);
if (b) b.click();
return !!b;
