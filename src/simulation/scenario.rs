//! What a seed makes of a run: systems, policy, habits and faults. Half of all seeds have no faults at all.

use super::people;
use super::run::Order;
use super::table::Stores;
use super::topology::{Policy, Shape};
use super::world::{Faults, World};

#[derive(Debug, Clone)]
pub(super) struct Scenario {
    pub(super) shape: Shape,
    pub(super) policy: Policy,
    /// Edits of people in all, and how often one comes, in a thousand turns.
    pub(super) edits: usize,
    pub(super) edit_rate: usize,
    /// How often clocks move, in a thousand turns: where they hardly do, changes have equal times.
    pub(super) tick_rate: usize,
    /// Whether people write what is refused.
    pub(super) poison: bool,
    /// Batches that a load writes at the same time, and key ranges that it reads by.
    pub(super) writers: usize,
}

impl Scenario {
    /// The scenario of a seed and its world, with what is in the systems before the program is first started.
    pub(super) fn new(order: Order) -> (Self, World) {
        let mut world = World::new(order.seed);
        world.bug = order.bug;
        let rng = &mut world.rng;
        let scenario = Self {
            shape: rng.pick(&[
                Shape::Copy,
                Shape::SharedKeys,
                Shape::SharedKeys,
                Shape::OwnKeys,
                Shape::OwnKeys,
                Shape::Hub,
            ]),
            policy: rng
                .pick(&[Policy::LaterWins, Policy::LaterWins].into_iter().chain(Policy::ALL).collect::<Vec<_>>()),
            edits: 4 + rng.below(14),
            edit_rate: rng.pick(&[15, 40, 120]),
            tick_rate: rng.pick(&[20, 300, 900]),
            poison: rng.chance(300),
            // No throw of the dice, so that each seed is otherwise the run that it was before there were ranges.
            writers: [1, 2, 3][usize::try_from(order.seed % 3).unwrap()],
        };
        if world.rng.chance(500) {
            world.faulty = true;
            let rng = &mut world.rng;
            world.faults = Faults {
                outage: rng.pick(&[0, 10, 40]),
                lost_answer: rng.pick(&[0, 50, 150]),
                duplicate: rng.pick(&[0, 200]),
                plugin: rng.pick(&[0, 50]),
                crash: rng.pick(&[0, 5, 20]),
                upheaval: rng.pick(&[0, 3, 10]),
            };
        }
        world.marks_origin = world.rng.chance(500);
        world.carries = order.seed.is_multiple_of(2);
        let stores = [Stores::AsIs, Stores::AsIs, Stores::Trimmed, Stores::UpperCase, Stores::LowerCase];
        let stores = [world.rng.pick(&stores), world.rng.pick(&stores), world.rng.pick(&stores)];
        world.tables = scenario.shape.tables(stores);
        for table in 0..world.tables.len() {
            world.tables[table].skew = world.rng.pick(&[0, 0, -5_000, 5_000, 30]);
            let rows = if scenario.shape == Shape::Copy && table > 0 { 0 } else { world.rng.below(3) };
            for _ in 0..rows {
                people::insert(&mut world, table, scenario.poison);
            }
            world.tables[table].log.clear();
        }
        (scenario, world)
    }
}
