const b = document.querySelector('form[action*="consent"] button, form[action*="consent"] input[type=submit]');
if (b) b.click();
return !!b;
