/**
 * The palette indices of a PNG. The daemon draws frames with the code of their state as index, so a picture is the most
 * compact list of states that its API has. The browser's own decoder gives colors only.
 *
 * Read here: pictures of indices of 1, 2, 4 or 8 bits, not interlaced; anything else is an error.
 */

const PALETTE = 3;

/**
 * @param {ArrayBuffer} file
 * @returns {Promise<{width: number, height: number, codes: Uint8Array}>}
 */
export async function readPalettePng(file) {
  const view = new DataView(file);
  if (file.byteLength < 33 || view.getUint32(0) !== 0x89504e47) throw new Error("this is no PNG");
  const [width, height, depth] = [view.getUint32(16), view.getUint32(20), view.getUint8(24)];
  if (view.getUint8(25) !== PALETTE || view.getUint8(28) !== 0) throw new Error("this PNG has no plain palette indices");
  const rowBytes = Math.ceil((width * depth) / 8);
  const lines = new Uint8Array(await inflated(dataOf(view)));
  if (lines.length < height * (rowBytes + 1)) throw new Error("this PNG ends early");
  unfilter(lines, rowBytes, height);
  return { width, height, codes: unpacked(lines, rowBytes, width, height, depth) };
}

/** @param {DataView} view */
function dataOf(view) {
  const parts = [];
  for (let at = 8; at + 12 <= view.byteLength; ) {
    const length = view.getUint32(at);
    if (view.getUint32(at + 4) === 0x49444154) parts.push(new Uint8Array(view.buffer, at + 8, length)); // IDAT
    at += 12 + length;
  }
  return new Blob(parts);
}

/** @param {Blob} blob */
function inflated(blob) {
  return new Response(blob.stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
}

/**
 * Undo the filters of PNG section 9, in place. A pixel is a byte at most, so the one to the left is one byte away.
 * @param {Uint8Array} lines  each with its filter in front
 * @param {number} rowBytes
 * @param {number} height
 */
function unfilter(lines, rowBytes, height) {
  for (let row = 0; row < height; row += 1) {
    const start = row * (rowBytes + 1) + 1;
    const filter = lines[start - 1];
    if (filter === 0) continue;
    for (let at = 0; at < rowBytes; at += 1) {
      const left = at ? lines[start + at - 1] : 0;
      const up = row ? lines[start + at - rowBytes - 1] : 0;
      const corner = at && row ? lines[start + at - rowBytes - 2] : 0;
      lines[start + at] += predicted(filter, left, up, corner);
    }
  }
}

/**
 * @param {number} filter
 * @param {number} left
 * @param {number} up
 * @param {number} corner
 */
function predicted(filter, left, up, corner) {
  if (filter === 1) return left;
  if (filter === 2) return up;
  if (filter === 3) return (left + up) >> 1;
  if (filter !== 4) throw new Error(`this PNG has a filter ${filter}`);
  const [toLeft, toUp, toCorner] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}

/**
 * @param {Uint8Array} lines
 * @param {number} rowBytes
 * @param {number} width
 * @param {number} height
 * @param {number} depth
 */
function unpacked(lines, rowBytes, width, height, depth) {
  const codes = new Uint8Array(width * height);
  const mask = (1 << depth) - 1;
  for (let row = 0; row < height; row += 1) {
    const start = row * (rowBytes + 1) + 1;
    for (let column = 0; column < width; column += 1) {
      const bit = column * depth;
      codes[row * width + column] = (lines[start + (bit >> 3)] >> (8 - depth - (bit & 7))) & mask;
    }
  }
  return codes;
}
