// Scroll to the end of the results, and press the button for more of them, where one is shown that leads nowhere else.
const words = /see more|more images|more results|mehr|plus d|más|altre|altri|meer|mais|więcej/i;
const isButton = (element) => {
  const href = element.getAttribute('href') || '#';
  const text = (element.value || element.innerText || '').trim();
  const leadsNowhere = href === '#' || href.startsWith('javascript:');
  return leadsNowhere && text.length < 40 && words.test(text) && element.getClientRects().length;
};
scrollTo(0, document.documentElement.scrollHeight);
const button = [...document.querySelectorAll('a, button, input[type=button], [role=button]')].find(isButton);
if (button) button.click();
