"""What a validation calls, and how it reaches the SDK: probes, cells, the fold, spans, requests, ownership."""
