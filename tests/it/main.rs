//! End-to-end tests: one binary, a module per feature.

mod emulators;
mod sandbox;
mod scripted;
mod wait;

mod article;
mod aws;
mod commands;
mod fuzz;
mod inspect;
mod differential;
mod jobserver;
mod locks;
mod makeflags;
mod signals;
mod staging;
mod tidy;
mod wheelhouse;
