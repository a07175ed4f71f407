// More results come while somebody scrolls, as pieces of HTML, until one is empty.
let first = ask.first, busy = false
async function look() {
  if (busy || first === null || innerHeight + scrollY < document.documentElement.scrollHeight - 300) return
  busy = true
  const params = new URLSearchParams({ ...ask.params, first, count: ask.count })
  const piece = await (await fetch(`/images/async?${params}`)).text()
  document.querySelector('.<<wall>>').insertAdjacentHTML('beforeend', piece)
  first = piece.includes('<li') ? first + ask.count : null
  busy = false
  look()
}
addEventListener('scroll', look); addEventListener('resize', look); look()
