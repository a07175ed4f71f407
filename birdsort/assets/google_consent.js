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
const rejecting = [...document.forms]
  .filter((form) => form.querySelector('input[name=set_eom][value=true]'))
  .flatMap((form) => [...form.querySelectorAll(submit)])
  .find(isVisible);
const consenting = `form[action*="consent"] :is(${submit})`;

// Among the results a title may have the same words: there, only a box over the page asks for consent.
const asks = bySelector(`[role=dialog], #W0wltc, #L2AGLb, ${consenting}`) || rejecting;
const hasResults = [...document.images].filter((img) => img.closest('a') && img.width >= 60).length > 3;
if (hasResults && !asks) return '';

const reject = byWords(rejectWords) || rejecting || bySelector('#W0wltc');
const accept = byWords(acceptWords) || bySelector('#L2AGLb') || bySelector(consenting);
const button = reject || accept;
if (button) button.click();
return reject ? 'declined' : accept ? 'accepted' : '';
