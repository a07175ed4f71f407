// Answer a question for consent: 'declined', 'accepted', or '' where the page does not ask.
const [rejectWords, acceptWords, buttons] = arguments;
const isVisible = (element) => element.getClientRects().length > 0;
const text = (button) => (button.value || button.innerText || '').trim();

const byWords = (pattern) => {
  const words = new RegExp(pattern, 'i');
  const fits = (button) => words.test(text(button)) || words.test(button.innerText || '');
  return [...document.querySelectorAll(buttons)].find(
    (button) => fits(button) && text(button).length < 60 && isVisible(button),
  );
};
const bySelector = (selector) => [...document.querySelectorAll(selector)].find(isVisible);
const submit = 'button, input[type=submit]';
const rejectsAll = [...document.forms].find((form) =>
  form.querySelector('input[name=set_eom][value=true]'),
);

const reject =
  byWords(rejectWords) || (rejectsAll && rejectsAll.querySelector(submit)) || bySelector('#W0wltc');
const accept =
  byWords(acceptWords) ||
  bySelector('#L2AGLb') ||
  bySelector(`form[action*="consent"] :is(${submit})`);
const button = reject || accept;
if (button) button.click();
return reject ? 'declined' : accept ? 'accepted' : '';
