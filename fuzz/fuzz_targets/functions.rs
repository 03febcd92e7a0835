#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| aws_lambda_fdw::fuzzing::functions(data));
