// After google_tiles.js: click on a tile and wait for the photo; [address, page, title], or null after `wait` ms.
const [index, wait, done] = arguments;
const tile = tiles[index];
if (!tile) return done(null);

const size = (img) => {
  const box = img.getBoundingClientRect();
  return box.width * box.height;
};
const isVisible = (img) => {
  const box = img.getBoundingClientRect();
  const onScreen = box.right > 0 && box.bottom > 0 && box.left < innerWidth && box.top < innerHeight;
  return onScreen && getComputedStyle(img).visibility !== 'hidden';
};

const thumbnails = new Set(tiles.map(image));
const thumbnailSize = size(image(tile));
const visibleBefore = new Set([...document.images].filter(isVisible).map((img) => img.src));
const isPhoto = (img) =>
  /^https?:/.test(img.src) &&
  !/[?&]q=tbn:|gstatic\.com/.test(img.src) &&
  !visibleBefore.has(img.src) &&
  !thumbnails.has(img) &&
  isVisible(img) &&
  size(img) > thumbnailSize;

// The page that a photo stands on: the nearest link to another site, inside the panel.
const pageOf = (img) => {
  for (let element = img; element; element = element.parentElement) {
    const link = element.matches('a[href^=http]')
      ? element
      : element.querySelector('a[href^=http]:not([href*="/imgres?"])');
    if (link && link.host !== location.host) return link.href;
    if (element.querySelectorAll('img').length > 8) break; // This is the grid already
  }
  return '';
};

// The browser must not follow the link, whether the page's own script keeps it from that or not.
const stay = (event) => event.preventDefault();
tile.scrollIntoView({ block: 'center' });
addEventListener('click', stay, { capture: true });
point(tile, ['mouseover', 'mousedown', 'mouseup', 'click']);
removeEventListener('click', stay, { capture: true });
const end = Date.now() + wait;
(function look() {
  const photo = [...document.images].filter(isPhoto).sort((a, b) => size(b) - size(a))[0];
  if (photo) return done([photo.src, pageOf(photo), image(tile).alt || photo.alt || '']);
  if (Date.now() > end) done(null);
  else setTimeout(look, 40);
})();
