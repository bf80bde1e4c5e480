// Following the end of a list that scrolls by itself.

/** Scrolls a list to its end, and nothing but the list: the page stays where it is. Heights may be guesses until rows are seen. */
export function toEnd(rows) {
  const { element } = rows;
  element.scrollTop = element.scrollHeight;
  requestAnimationFrame(() => (element.scrollTop = element.scrollHeight));
}
