// Spectra take seconds for large fields, so that the page leaves them to a worker.
import { spectrum, type SpectrumRequest } from "./spectrum";

self.onmessage = ({ data }: MessageEvent<SpectrumRequest>) => self.postMessage(spectrum(data));
