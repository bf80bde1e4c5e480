// Blocks of a script: which part of a text a variable belongs to. A trace says what a variable became, not when it is gone.

import { parts } from "./code.js";

const after = (line, column, place) => line > place.line || (line === place.line && column >= place.column);

/** The blocks in braces of one text. */
export class Blocks {
  constructor(text) {
    this.lines = text.split("\n");
    this.blocks = [];
    const open = [];
    let before = "";
    for (const [at, line] of parts(text).entries()) {
      let column = 1;
      for (let index = 0; index < line.length; index += 2) {
        const [kind, piece] = [line[index], line[index + 1]];
        const counts = kind === "" || kind === "hole";
        for (const character of piece) {
          if (counts && character === "{") {
            const block = { from: { line: at + 1, column }, to: { line: Infinity, column: 0 }, map: before === "#", hole: kind === "hole" };
            this.blocks.push(block);
            open.push(block);
          } else if (counts && character === "}") {
            const block = open.pop();
            if (block) block.to = { line: at + 1, column };
          }
          if (character > " ") before = character;
          column += 1;
        }
      }
    }
  }

  /** The innermost block around a place; null: the whole text. */
  around(line, column) {
    let found = null;
    // Blocks are in the order they begin, so the last that holds the place is the innermost.
    for (const block of this.blocks) {
      if (block.from.line > line) break;
      if (holds(block, line, column)) found = block;
    }
    return found;
  }

  /**
   * The part of the text in which a variable lives that was first seen after the statement at `place`: a `let` has its block, the
   * variable of a loop the loop. Undefined: that statement did not declare it.
   */
  scope(name, { line, column }) {
    const text = this.lines[line - 1] ?? "";
    // The statement that was seen last may stand inside of the one that declares: `let x = switch y { _ => { 1 } };`.
    const starts = [...text.matchAll(new RegExp(`\\b(?:let|const)\\s+${name}\\b`, "g"))].map((found) => found.index + 1);
    if (starts.length) return this.around(line, starts.findLast((start) => start <= column) ?? starts[0]);
    const loop = new RegExp(`\\bfor\\b[^{]*\\b${name}\\b[^{]*\\bin\\b`).exec(text);
    if (loop) {
      const from = { line, column: loop.index + 1 };
      const body = this.blocks.find((block) => !block.map && !block.hole && after(block.from.line, block.from.column, from));
      return body ? { from, to: body.to } : this.around(line, column);
    }
    return undefined;
  }
}

/** Whether a part of a text holds a place; null holds all. */
export function holds(block, line, column) {
  return block === null || (after(line, column, block.from) && !(line > block.to.line || (line === block.to.line && column > block.to.column)));
}
