// The results of an image search: `tiles` are the links or buttons, `image(tile)` is the thumbnail inside one.
const leadsNowhere = (href) =>
  !href || href === '#' || href.startsWith('javascript:') || href.includes('/imgres?');

const target = (img) => {
  const link = img.closest('a');
  if (link) return leadsNowhere(link.getAttribute('href')) ? link : null;
  const button = img.closest('[role=button], [tabindex], [jsaction]');
  return button && button.querySelectorAll('img').length <= 2 ? button : null;
};

const isLarge = (img) => {
  const box = img.getBoundingClientRect();
  return box.width >= 60 && box.height >= 60;
};

const image = (tile) => tile.querySelector('img');
const tiles = [...new Set([...document.images].filter(isLarge).map(target).filter((tile) => tile))];

// Let mouse events of these kinds happen on a tile, as if a person pointed at it.
const point = (tile, kinds) => {
  for (const kind of kinds)
    for (const element of [image(tile), tile])
      element.dispatchEvent(new MouseEvent(kind, { bubbles: true, cancelable: true, view: window }));
};

// [link, title] of every result.
const link = (tile) => tile.getAttribute('href') || '';
const links = () => tiles.map((tile) => [link(tile), image(tile).alt || '']);
