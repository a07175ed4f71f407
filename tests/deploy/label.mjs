// node label.mjs [BANK.safetensors] MODEL.onnx IMAGE.jpg... -> a JSON list of {file, label, probability}: an exported model
// without Python. With the bank of features of an export also unknown_score, and the label may be "none of these".
import { readFile } from 'node:fs/promises'

const fail = why => { console.error(`label: ${why}`); process.exit(1) }
const [jpeg, ort] = await Promise.all([import('@jsquash/jpeg/decode.js'), import('onnxruntime-web')]).catch(() => fail('packages are missing: make tests/node_modules/.installed'))

function* fields(bytes) { // A protobuf message -> [its number, its bytes] for each field that is not a number
  let at = 0
  const varint = () => { for (let n = 0, unit = 1;; unit *= 128) { const b = bytes[at++]; n += b % 128 * unit; if (!(b >= 128)) return n } }
  while (at < bytes.length) {
    const key = varint(), kind = key % 8
    if (kind === 0) { varint(); continue }
    const size = kind === 1 ? 8 : kind === 5 ? 4 : varint()
    yield [Math.floor(key / 8), bytes.subarray(at, at += size)]
  }
}

function metadata(model) { // ONNX Runtime Web does not give it: ModelProto.metadata_props is field 14, of pairs with key 1 and value 2
  const found = {}, text = new TextDecoder()
  for (const [n, pair] of fields(model)) if (n === 14) {
    const { 1: key, 2: value } = Object.fromEntries(fields(pair))
    found[text.decode(key)] = text.decode(value)
  }
  if (!found.labels) throw Error('no ONNX model of birdsort: there are no labels in it')
  return found
}

async function decoder() { // -> bytes of a JPEG -> RGBA, upright; by libjpeg-turbo, as in Pillow and in browsers, so that every pixel is the same
  let said = ''
  globalThis.ImageData ??= class { constructor(data, width, height) { Object.assign(this, { data, width, height }) } }
  const wasm = await readFile(new URL('../node_modules/@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm', import.meta.url))
  await jpeg.init(await WebAssembly.compile(wasm), { printErr: why => { said = why } })
  return async bytes => {
    const image = await jpeg.default(bytes, { preserveOrientation: true }).catch(() => null)
    if (!image || said.startsWith('Premature end')) throw Error(said || 'not a JPEG')
    return image
  }
}

const ONE = 2 ** 22 // Pillow counts in whole numbers, so that all machines agree

function weights(from, to) { // Pillow's BILINEAR: for each new pixel, the first old one, and the shares of it and the next ones
  const scale = from / to, reach = Math.max(scale, 1)
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + .5) * scale, first = Math.max(0, Math.trunc(centre - reach + .5)), end = Math.min(from, Math.trunc(centre + reach + .5))
    const w = Array.from({ length: end - first }, (_, k) => Math.max(0, 1 - Math.abs(first + k + .5 - centre) / reach)), sum = w.reduce((a, b) => a + b)
    return [first, w.map(v => Math.round(v / sum * ONE))]
  })
}

function squish({ data, width, height }, side) { // RGBA -> RGBA, side x side: rows, then columns, rounded each time, as Pillow does
  const pass = (data, rows, from) => { // What comes out is transposed
    const out = new Uint8Array(side * rows * 4)
    weights(from, side).forEach(([first, w], i) => {
      for (let r = 0; r < rows; r++) for (let c = 0; c < 4; c++)
        out[(i * rows + r) * 4 + c] = w.reduce((sum, v, k) => sum + v * data[(r * from + first + k) * 4 + c], ONE / 2) / ONE
    })
    return out
  }
  return pass(pass(data, height, width), side, height)
}

function half(h) { // 16 bits -> a number
  const sign = h & 0x8000 ? -1 : 1, exponent = h >> 10 & 31, fraction = (h & 1023) / 1024
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction) : 2 ** -14 * fraction)
}

function openBank(bytes, meta) { // safetensors: eight bytes for the header's size, the header in JSON, the numbers
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), size = Number(view.getBigUint64(0, true))
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + size))), { shape: [n, d], data_offsets: [from] } = header.rows
  const bank = JSON.parse(header.__metadata__.bank), unknown = JSON.parse(meta.unknown ?? 'null')
  if (unknown?.features !== d || unknown.network !== bank.network) throw Error('it does not belong to this model: export again')
  const number = i => half(view.getUint16(8 + size + from + 2 * i, true))
  return { ...bank, rows: Array.from({ length: n }, (_, i) => Float32Array.from({ length: d }, (_, j) => number(i * d + j))) }
}

function unknownScore(bank, logits, features) { // How little an image is like the training images; see birdsort.deploy.unknown
  const dot = (a, b) => a.reduce((sum, v, i) => sum + v * b[i], 0), length = Math.sqrt(dot(features, features))
  const nearest = bank.rows.map(row => dot(row, features) / length).sort((a, b) => b - a).slice(0, bank.k), top = Math.max(...logits)
  const wrong = logits.reduce((sum, v) => sum + Math.exp(v - top), 0) - 1 // Times as probable as the label
  const certainty = Math.min(Math.log1p(wrong) - Math.log(Math.max(wrong, 1e-12)), 20)
  const parts = [nearest.reduce((a, b) => a + b) / nearest.length, certainty]
  return -parts.reduce((sum, v, i) => sum + (v - bank.means[i]) / bank.deviations[i], 0) / parts.length
}

async function label(bankPath, path, files) {
  const read = async (file, use) => { try { return await use(await readFile(file)) } catch (e) { fail(e.code === 'ENOENT' ? `no file ${file}` : `${file}: ${e.message ?? e}`.split('\n')[0]) } }
  ort.env.wasm.numThreads = 1
  const [meta, session] = await read(path, async m => [metadata(m), await ort.InferenceSession.create(m, { executionProviders: ['wasm'], logSeverityLevel: 3 })])
  const [labels, mean, std] = ['labels', 'mean', 'std'].map(k => JSON.parse(meta[k])), side = +meta.input_size, area = side * side
  const bank = bankPath && await read(bankPath, async f => openBank(new Uint8Array(f), meta))
  const decode = await decoder(), images = new Float32Array(files.length * 3 * area)
  for (const [i, file] of files.entries()) {
    const rgba = await read(file, async f => squish(await decode(f), side))
    for (let c = 0; c < 3; c++) for (let p = 0; p < area; p++) images[(i * 3 + c) * area + p] = (rgba[p * 4 + c] / 255 - mean[c]) / std[c]
  }
  const { logits, features } = await session.run({ images: new ort.Tensor('float32', images, [files.length, 3, side, side]) })
  return files.map((file, i) => {
    const own = t => t.data.subarray(i * t.dims[1], (i + 1) * t.dims[1]), z = [...own(logits)].map(v => v / +meta.temperature), top = Math.max(...z)
    const found = { file, label: labels[z.indexOf(top)], probability: 1 / z.reduce((sum, v) => sum + Math.exp(v - top), 0) }
    if (!bank) return found
    const score = unknownScore(bank, own(logits), own(features))
    return { ...found, label: score <= bank.threshold ? found.label : 'none of these', unknown_score: score }
  })
}

const args = process.argv.slice(2), bank = args[0]?.endsWith('.safetensors') ? args.shift() : null, [model, ...files] = args
if (!files.length) fail('which model, and which images? node label.mjs MODEL.onnx IMAGE.jpg...')
console.log(JSON.stringify(await label(bank, model, files)))
