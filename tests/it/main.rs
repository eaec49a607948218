mod aws;
mod emulators;
mod scripted;
