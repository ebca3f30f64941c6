/** The rows of a long list that are in view: the arithmetic of a virtual list. */
export interface Range {
  from: number;
  /** Exclusive. */
  to: number;
}

/** Rows beyond the edge, so that a short scroll shows no gap before the next frame. */
const MARGIN = 8;

export function visible(scrollTop: number, height: number, rowHeight: number, count: number): Range {
  const first = Math.floor(scrollTop / rowHeight);
  const last = Math.ceil((scrollTop + height) / rowHeight);
  const to = Math.min(count, Math.max(0, last + MARGIN));
  return { from: Math.max(0, Math.min(to, first - MARGIN)), to };
}

/** The place to scroll to so that a row is in view; unchanged when it is. */
export function reveal(index: number, scrollTop: number, height: number, rowHeight: number): number {
  const top = index * rowHeight;
  if (top < scrollTop) return top;
  if (top + rowHeight > scrollTop + height) return top + rowHeight - height;
  return scrollTop;
}
