//! What Bartizan must do on a real cluster, each scenario named as the sentence that it proves, one file per topic. One
//! program for all, so that they run side by side: most of their time is waiting. One topic alone:
//! `cargo test -p bartizan-e2e repair::`.

mod deploy;
mod faults;
mod ownership;
mod quiet;
mod repair;
mod restart;
mod samples;
mod startup;
mod validation;
