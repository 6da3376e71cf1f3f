//! A stated latency turned into a plan: codec, frame, redundancy, buffer; and where the milliseconds go.
