//! End-to-end tests: one binary, a module per feature.

#![expect(clippy::print_stderr, reason = "the long runs say how much they did")]

mod dice;
mod emulators;
mod proxy;
mod sandbox;
mod scripted;
mod wait;

mod ahead;
mod anchors;
mod article;
mod aws;
mod bench;
mod building;
mod bytecode;
mod certificates;
mod check;
mod commands;
mod deploy;
mod fuzz;
mod inspect;
mod differential;
mod damage;
mod faults;
mod jobserver;
mod kills;
mod lambda;
mod invoke;
mod layers;
mod local;
mod locks;
mod makeflags;
mod markers;
mod outages;
mod ownership;
mod platform;
mod popular;
mod racy;
mod random;
mod signals;
mod mistakes;
mod proving;
mod receipt;
mod reproduce;
mod recipe;
mod repeat;
mod requirements;
mod s3;
mod staging;
mod streams;
mod tidy;
mod trust;
mod verify;
mod wheelhouse;
mod whole;
