// What can be told of somebody before a camera, by the browser's own means: the light, and whether the one who speaks is in the middle.

const WIDTH = 64;
const HEIGHT = 36;
/** Mean brightness of the oval, 0..255: darker than this faces lose their detail in noise, brighter they are washed out. */
const DARK = 60;
const BRIGHT = 215;
/** How far from the middle, in widths and heights of the picture, a face may be. */
const MAY_BE_OFF = 0.14;
/** Share of the picture's height that a face must have: less than a quarter is learnt badly. */
const SMALLEST = 0.25;
/** Share of the motion that is remembered from look to look, and the sum from which it says something. */
const REMEMBERED = 0.9;
const MOVED = 400;
/** The oval: the middle of the picture, somewhat above; half axes in widths and heights of the picture. */
export const OVAL = { x: 0.5, y: 0.47, rx: 0.16, ry: 0.36 };

/** `judge(video)` of a camera's picture gives the key of a text that says what to do ("camera.dark"), or "". */
export function framing() {
  const canvas = new OffscreenCanvas(WIDTH, HEIGHT);
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const faces = "FaceDetector" in window ? new window.FaceDetector({ maxDetectedFaces: 2, fastMode: true }) : null;
  const motion = new Float32Array(WIDTH * HEIGHT);
  let before = null;

  const look = (video) => {
    pen.drawImage(video, 0, 0, WIDTH, HEIGHT);
    const { data } = pen.getImageData(0, 0, WIDTH, HEIGHT);
    const luma = new Float32Array(WIDTH * HEIGHT);
    for (let k = 0; k < luma.length; k += 1) luma[k] = 0.2126 * data[4 * k] + 0.7152 * data[4 * k + 1] + 0.0722 * data[4 * k + 2];
    for (let k = 0; k < luma.length; k += 1) motion[k] = REMEMBERED * motion[k] + Math.max(0, before ? Math.abs(luma[k] - before[k]) - 6 : 0); // 6: noise
    before = luma;
    return luma;
  };
  /** Whoever speaks moves: where most of it is, the head is. Without a detector of faces nothing else tells. */
  const offByMotion = () => {
    let [sum, across] = [0, 0];
    motion.forEach((each, k) => {
      sum += each;
      across += each * (k % WIDTH);
    });
    return sum > MOVED && Math.abs(across / sum / WIDTH - OVAL.x) > MAY_BE_OFF;
  };
  const judge = async (video) => {
    if (!video.videoWidth) return "";
    const light = lightOf(look(video));
    if (light < DARK) return "camera.dark";
    if (light > BRIGHT) return "camera.bright";
    const found = faces && (await faces.detect(video).catch(() => null));
    if (!found) return offByMotion() ? "camera.middle" : "";
    if (!found.length) return "camera.noface";
    if (found.length > 1) return "camera.faces";
    const { x, y, width, height } = found[0].boundingBox;
    if (height / video.videoHeight < SMALLEST) return "camera.closer";
    const off = [(x + width / 2) / video.videoWidth - OVAL.x, (y + height / 2) / video.videoHeight - OVAL.y];
    return off.some((each) => Math.abs(each) > MAY_BE_OFF) ? "camera.middle" : "";
  };
  return { judge };
}

function lightOf(luma) {
  let [sum, count] = [0, 0];
  luma.forEach((each, k) => {
    const x = ((k % WIDTH) + 0.5) / WIDTH - OVAL.x;
    const y = (Math.floor(k / WIDTH) + 0.5) / HEIGHT - OVAL.y;
    if ((x / OVAL.rx) ** 2 + (y / OVAL.ry) ** 2 > 1) return;
    sum += each;
    count += 1;
  });
  return sum / count;
}
