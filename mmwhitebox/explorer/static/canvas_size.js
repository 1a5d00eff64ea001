// Canvases as sharp as the screen: each is told when its size on the page changes.
const MOST_PIXELS = 1400;
const redraws = new WeakMap();

const observer = new ResizeObserver(entries => {
  for (const entry of entries) {
    if (fitCanvas(entry.target, entry.contentRect.width)) {
      redraws.get(entry.target)();
    }
  }
});

function fitCanvas(canvas, cssWidth) {
  const width = Math.round(Math.min(MOST_PIXELS, cssWidth * (window.devicePixelRatio || 1)));
  const height = Math.max(1, Math.round(width / canvas.aspect));
  if (!width || canvas.width === width && canvas.height === height) {
    return false;
  }
  canvas.width = width;
  canvas.height = height;
  return true;
}

// Gives a canvas the proportions width : height and keeps it sharp; `redraw` runs when it was resized.
export function keepSharp(canvas, redraw) {
  canvas.aspect ??= 1;
  redraws.set(canvas, redraw);
  observer.observe(canvas);
}

export function setAspect(canvas, width, height) {
  const aspect = width / height;
  if (canvas.aspect !== aspect) {
    canvas.aspect = aspect;
    canvas.style.aspectRatio = `${width} / ${height}`;
    fitCanvas(canvas, canvas.clientWidth);
  }
}
