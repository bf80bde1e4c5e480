// JSON that people type: its numbers are exact, or it is said that they are not.

const WORDS = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/gs;

/** `JSON.parse`, which also throws for a whole number that would lose digits in a browser. */
export function exact(text) {
  const value = JSON.parse(text);
  if (/\d{16}/.test(text)) {
    for (const [word] of text.matchAll(WORDS)) {
      if (/^-?\d+$/.test(word) && !Number.isSafeInteger(Number(word))) {
        throw new Error(`This page can send whole numbers up to ${Number.MAX_SAFE_INTEGER}: send ${word} as text.`);
      }
    }
  }
  return value;
}

/** What `exact` threw, for who typed it. */
export const whyNot = (error) => (error instanceof SyntaxError ? `This is no JSON: ${error.message}` : error.message);
