// After google_tiles.js: bring the mouse near every result without a link; [link, title] of each.
for (const tile of tiles)
  if (!link(tile).includes('/imgres?'))
    point(tile, ['mouseover', 'mouseenter', 'mousemove', 'mousedown', 'mouseup']);
return links();
