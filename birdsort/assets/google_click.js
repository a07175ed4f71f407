// Click on the first element that fits a selector; whether there was one.
const [selector] = arguments;
const element = document.querySelector(selector);
if (element) element.click();
return !!element;
