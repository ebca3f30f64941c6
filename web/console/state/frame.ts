/**
 * Calls back once in the next animation frame, however often it was asked. Changes arrive faster than anybody can see; while the page is hidden
 * nothing is drawn, and nothing piles up.
 */
export function perFrame(draw: () => void): () => void {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  };
}
