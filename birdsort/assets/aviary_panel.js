
function fill(slide, tile, wait) {
  const large = slide.querySelector('img'), small = tile?.querySelector('img')
  large.removeAttribute('src')
  if (!tile) return
  const { photo, page: from } = about(tile)
  large.src = small.src
  large.alt = slide.querySelector('h3').textContent = small.alt
  slide.querySelector('a').href = from
  setTimeout(() => { if (large.src == small.src) large.src = photo }, wait)
}
function show(tile) {
  const all = [...document.querySelectorAll('.<<tile>>')], panel = $('<<panel>>'), slides = [...panel.querySelectorAll('.<<slide>>')]
  slides.forEach((slide, i) => { const away = slides.length == 1 ? 0 : i - 1; fill(slide, all[all.indexOf(tile) + away], away ? 0 : 150) })
  panel.style.display = 'block'
  if (page.layout == 2019) all.filter(t => t.offsetTop == tile.offsetTop).pop().after(panel)
  else document.body.classList.add('<<beside>>')
}
$('<<close>>').onclick = () => { $('<<panel>>').style.display = 'none'; document.body.classList.remove('<<beside>>') }
