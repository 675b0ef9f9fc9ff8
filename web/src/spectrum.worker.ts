// Spectra take seconds for large fields, so that the page leaves them to a worker.
import { spectrum, type Order } from "./spectrum";

self.onmessage = ({ data }: MessageEvent<Order>) => self.postMessage(spectrum(data));
