//! End-to-end tests: one binary, a module per feature.

mod emulators;
mod sandbox;
mod one_target;
mod scripted;

mod aws;
mod commands;
mod staging;
mod tidy;
mod wheelhouse;
