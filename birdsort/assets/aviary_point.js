
function point(event) {
  const a = event.target.closest?.('.<<link>>')
  if (!a || $('<<overlay>>')) return
  // In 2024 and 2026 an element inside the link listens, and only to what its action names
  if (page.inner && !event.target.closest(`[jsaction*="${event.type}:"]`)) return
  const tile = a.closest('.<<tile>>'), { photo, height, width, page: from } = about(tile), e = encodeURIComponent
  if (page.reveal == 'link' && page.touches.includes(event.type))
    a.href = `/imgres?imgurl=${e(photo)}&imgrefurl=${e(from)}&h=${height}&w=${width}&udm=2`
  if (event.type != 'click') return
  event.preventDefault()
  if (page.reveal != 'script') show(tile)
}
for (const type of ['mouseover', 'mousedown', 'click']) document.addEventListener(type, point)
