// What is read off a page of Bing's image search: the JSON of each result, the words, the HTTP status, and whether
// there is nothing on the page to follow or to look at yet.
const [navigation] = performance.getEntriesByType('navigation');
return {
  results: [...document.querySelectorAll('a[m]')].map((link) => link.getAttribute('m')),
  text: document.body ? document.body.innerText : '',
  status: (navigation && navigation.responseStatus) || 200,
  isBare: !document.links.length && !document.images.length,
};
