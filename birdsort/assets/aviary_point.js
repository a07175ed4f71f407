
const $ = name => document.querySelector('.' + name)
function point(event) {
  const a = event.target.closest?.('[data-ri] a:first-of-type')
  if (!a || $('<<overlay>>')) return
  const tile = a.closest('[data-ri]'), [, , photo, from] = rows[tile.dataset.ri], e = encodeURIComponent
  if (page.reveal == 'link' && page.touches.includes(event.type))
    a.href = `/imgres?imgurl=${e(photo[0])}&imgrefurl=${e(from)}&h=${photo[1]}&w=${photo[2]}&udm=2`
  if (event.type != 'click') return
  event.preventDefault()
  if (page.reveal != 'script') show(tile)
}
for (const type of ['mouseover', 'mousedown', 'click']) document.addEventListener(type, point)
