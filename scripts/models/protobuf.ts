// The protobuf wire format, as much of it as an ONNX file needs. A message is a list of chunks with a known length; a
// chunk may be lazy, so that a message of hundreds of megabytes is written without ever being in memory.

/** Bytes that are made while they are written. `chunks` must yield `length` bytes in total, the same on every call. */
export interface LazyBytes {
  readonly length: number;
  chunks(): Iterable<Uint8Array>;
}

/** Bytes, now or later. */
export type Bytes = Uint8Array | LazyBytes;

/** An encoded message. */
export interface Message {
  readonly length: number;
  readonly parts: readonly Bytes[];
}

const VARINT = 0;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;
const utf8 = new TextEncoder();

/** A message of these fields, in this order. */
export function message(...fields: readonly (Message | readonly Message[])[]): Message {
  const parts: Bytes[] = [];
  let length = 0;
  for (const field of fields.flat()) {
    parts.push(...field.parts);
    length += field.length;
  }
  return { length, parts };
}

/** An integer field; negative numbers take ten bytes, as protobuf's int64 does. */
export function integer(field: number, value: number | bigint): Message {
  return message(of(varint((field << 3) | VARINT)), of(varint(value)));
}

/** A float field. */
export function float(field: number, value: number): Message {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setFloat32(0, value, true);
  return message(of(varint((field << 3) | FIXED32)), of(bytes));
}

/** A string field. */
export function string(field: number, value: string): Message {
  return bytes(field, utf8.encode(value));
}

/** A bytes field. */
export function bytes(field: number, value: Bytes): Message {
  return nested(field, { length: value.length, parts: [value] });
}

/** A field that holds a message. */
export function nested(field: number, value: Message): Message {
  return message(of(varint((field << 3) | LENGTH_DELIMITED)), of(varint(value.length)), value);
}

/** The bytes of a message, chunk by chunk. */
export function* chunksOf(value: Message): Generator<Uint8Array> {
  for (const part of value.parts) {
    if (part instanceof Uint8Array) yield part;
    else yield* part.chunks();
  }
}

function of(value: Uint8Array): Message {
  return { length: value.length, parts: [value] };
}

function varint(value: number | bigint): Uint8Array {
  let rest = BigInt.asUintN(64, BigInt(value));
  const out: number[] = [];
  while (rest > 0x7fn) {
    out.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  out.push(Number(rest));
  return Uint8Array.from(out);
}
