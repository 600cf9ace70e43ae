// How loud a microphone is.

/** {now(), close()}: now() gives {loudness, peak} of the last moment, 0..1 each; loudness is the root of the mean square. */
export function levelOf(stream) {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const now = () => {
    analyser.getFloatTimeDomainData(samples);
    const loudness = Math.sqrt(samples.reduce((sum, each) => sum + each * each, 0) / samples.length);
    return { loudness, peak: samples.reduce((most, each) => Math.max(most, Math.abs(each)), 0) };
  };
  return { now, close: () => context.close() };
}
