// A press on either button tells the site, and the cover is gone.
for (const button of document.querySelectorAll('.<<answer>>')) button.onclick = () => {
  const request = new XMLHttpRequest()
  request.open('POST', '/consent/save', false) // The answer is kept before anything else happens
  request.send(`choice=${button.matches('.<<accept>>') ? 'accept' : 'reject'}`)
  document.querySelector('.<<overlay>>').remove()
  dispatchEvent(new Event('resize'))
}
