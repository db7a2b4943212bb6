package upscope

// RetryAfter is the reader of the Retry-After header.
var RetryAfter = retryAfter
