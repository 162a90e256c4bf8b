//! Criterion benches of the packet path (`cargo bench -p weft-benches`), and `peers/weft`, the script by which weft is
//! compared with other switches on the same work.
#![forbid(unsafe_code)]
