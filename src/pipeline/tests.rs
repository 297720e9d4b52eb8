//! The way of a batch through the whole pipeline, with two systems, a state store and plugins in memory.

mod counts;
mod deletes;
mod functions;
mod people;
mod record_transforms;
mod resolvers;
mod rules;
mod world;
