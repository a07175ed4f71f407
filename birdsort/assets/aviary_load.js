
let gate = page.gate, busy = false
async function load() {
  if (busy || page.next === null || $('<<overlay>>')) return
  if (page.next >= gate) { $('<<more>>').style.display = 'block'; return }
  busy = true
  try {
    const more = await (await fetch(`/more?q=${encodeURIComponent(page.query)}&start=${page.next}`)).json()
    const script = document.createElement('script')
    script.textContent = more.data
    document.body.append(script)
    if (page.reveal != 'script') script.remove()
    $('<<grid>>').insertAdjacentHTML('beforeend', more.tiles)
    page.next = more.next
  } finally { busy = false }
  look()
}
function look() {
  if (page.next === null) $('<<end>>').style.display = 'block'
  if (innerHeight + scrollY > document.documentElement.scrollHeight - 300) load()
}
$('<<more>>').onclick = () => { gate += page.gate; $('<<more>>').style.display = 'none'; load() }
addEventListener('scroll', look); addEventListener('resize', look); look()
