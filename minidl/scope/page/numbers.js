// Numbers: how they come from the engine, and how they are written.

/** A number of the engine: JSON has no infinity and no NaN, so these come as text. */
export function number(value) {
  if (typeof value !== "string") return value ?? NaN;
  return { inf: Infinity, "-inf": -Infinity }[value] ?? NaN;
}

/** The values of an array that `pack.py` has packed: a flat array, beside its shape. */
export function unpack(packed) {
  const text = atob(packed.base64);
  const count = text.length / packed.bytes;
  const raw = new DataView(new ArrayBuffer(4 * count));
  const lost = 4 - packed.bytes; // low bytes that were not sent are 0
  for (let i = 0; i < count; i++)
    for (let k = 0; k < packed.bytes; k++)
      raw.setUint8(4 * i + lost + k, text.charCodeAt(i * packed.bytes + k));
  const values = new Float64Array(count);
  const factor = 2 ** packed.power;
  for (let i = 0; i < count; i++) values[i] = raw.getFloat32(4 * i, true) * factor;
  return values;
}

const RAISED = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

/** A whole number as an exponent: 12 is ¹². */
export const raised = (n) => [...String(n)].map((c) => RAISED[c]).join("");

/** A number with its first digits: 0.0123, 1,230, 4.5×10⁻⁷. */
export function short(value, digits = 3) {
  const x = number(value);
  if (Number.isNaN(x)) return "NaN";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  if (x === 0) return "0";
  const power = Math.floor(Math.log10(Math.abs(x)));
  if (power < -3 || power > 5) {
    const [mantissa, exponent] = x.toExponential(digits - 1).split("e");
    return `${mantissa.replace("-", "−")}×10${raised(Number(exponent))}`;
  }
  const rounded = Number(x.toPrecision(digits));
  const places = Math.max(0, digits - 1 - power);
  return rounded.toLocaleString("en", { maximumFractionDigits: places }).replace("-", "−");
}

/** A share in per cent. */
export const percent = (share, digits = 0) => `${(100 * number(share)).toFixed(digits)} %`;

/** How many places behind the point show `digits` digits of the largest of these numbers. */
export function places(values, digits) {
  const largest = Math.max(...values.map(Math.abs).filter(Number.isFinite), 1e-300);
  return Math.min(12, Math.max(0, digits - 1 - Math.floor(Math.log10(largest))));
}

/** The number with a fixed count of places, its sign as a minus. */
export function fixed(x, count) {
  if (!Number.isFinite(x)) return short(x);
  return (Object.is(x, -0) ? 0 : x).toFixed(count).replace("-", "−");
}
