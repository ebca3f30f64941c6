//! A made-up city with buses and trams. No IO: time passes only by calls.
//!
//! Streets form a grid. A route is a rectangle of streets, driven round and round, with a stop at
//! every other crossing. Vehicles speed up, brake, and wait while people get on and off. Each
//! reports its position once a second, at its own moment, as real ones do.

use serde::Serialize;

use crate::random::Random;

/// Calls of [`Fleet::tick`] in a second.
pub(crate) const TICKS_PER_SECOND: usize = 10;

const STREETS: [&str; 16] = [
    "Ash", "Birch", "Canal", "Dover", "Elm", "Foundry", "Garden", "Harbour", "Iron", "Juniper",
    "King", "Linden", "Market", "North", "Orchard", "Park",
];
const AVENUES: usize = 24;
const BLOCK_NORTH_M: f64 = 160.0;
const BLOCK_EAST_M: f64 = 220.0;
const ORIGIN_LAT: f64 = 48.1;
const ORIGIN_LON: f64 = 9.6;
const METRES_PER_DEGREE: f64 = 111_320.0;

const SEATS: u32 = 90;
const ACCELERATION_MPS2: f64 = 1.2;
const BRAKING_MPS2: f64 = 1.0;
/// The time between two positions of one vehicle, in seconds.
const STEP_S: f64 = 1.0;
/// Vehicles that share a route, about.
const VEHICLES_PER_ROUTE: usize = 12;
/// One route in so many is a tram's.
const TRAM_EVERY: usize = 5;

/// The lines of the grid, as a map needs them.
#[derive(Debug, Serialize)]
pub(crate) struct Streets {
    names: &'static [&'static str],
    /// Latitudes of the streets, which lead east, in the order of their names.
    latitudes: Vec<f64>,
    /// Longitudes of the avenues, which lead north.
    longitudes: Vec<f64>,
}

impl Streets {
    pub(crate) fn all() -> Streets {
        Streets {
            names: &STREETS,
            latitudes: (0..STREETS.len()).map(|n| latitude(n as f64 * BLOCK_NORTH_M)).collect(),
            longitudes: (0..AVENUES).map(|n| longitude(n as f64 * BLOCK_EAST_M)).collect(),
        }
    }

    /// The ends of the grid: south, north, west, east.
    pub(crate) fn ends(&self) -> (f64, f64, f64, f64) {
        let ends = |lines: &[f64]| (lines[0], lines[lines.len() - 1]);
        let ((south, north), (west, east)) = (ends(&self.latitudes), ends(&self.longitudes));
        (south, north, west, east)
    }
}

/// All vehicles of the city.
#[derive(Debug)]
pub(crate) struct Fleet {
    routes: Vec<Route>,
    vehicles: Vec<Vehicle>,
    random: Random,
    ticks: usize,
}

/// The report of a vehicle: the value of `/vehicles/ID`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Telemetry {
    pub(crate) route: String,
    pub(crate) status: &'static str,
    pub(crate) position: Position,
    pub(crate) heading_deg: u32,
    pub(crate) speed_mps: f64,
    pub(crate) passengers: u32,
    pub(crate) next_stop: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Position {
    pub(crate) lat: f64,
    pub(crate) lon: f64,
}

/// The fleet in a few numbers: the value of `/fleet`.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) vehicles: usize,
    pub(crate) moving: usize,
    pub(crate) stopped: usize,
    pub(crate) passengers: u32,
    /// Mean speed of the vehicles that move.
    pub(crate) mean_speed_mps: f64,
}

/// A rectangle of streets and avenues, given by two of its corners.
#[derive(Debug)]
struct Route {
    name: String,
    tram: bool,
    west: usize,
    south: usize,
    east: usize,
    north: usize,
}

#[derive(Debug)]
struct Vehicle {
    id: String,
    route: usize,
    /// Metres along the route.
    at_m: f64,
    speed_mps: f64,
    cruise_mps: f64,
    /// Time that it still waits at its stop, in seconds.
    waits_s: f64,
    passengers: u32,
}

impl Fleet {
    /// Makes a city of so many vehicles. The same seed makes the same city.
    pub(crate) fn new(vehicles: usize, seed: u64) -> Fleet {
        let mut random = Random::new(seed);
        let routes: Vec<Route> = (0..vehicles.div_ceil(VEHICLES_PER_ROUTE))
            .map(|n| Route::new(n, &mut random))
            .collect();
        let vehicles = (0..vehicles).map(|n| Vehicle::new(n, &routes, &mut random)).collect();
        Fleet { routes, vehicles, random, ticks: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.vehicles.len()
    }

    /// Changes the number of vehicles towards `wished`, by at most `step`. New ones appear on the
    /// map, the newest go first. Returns those that appeared and the names of those that went.
    pub(crate) fn resize(
        &mut self,
        wished: usize,
        step: usize,
    ) -> (Vec<(&str, Telemetry)>, Vec<String>) {
        let before = self.vehicles.len();
        let gone = self.vehicles.split_off(wished.max(before.saturating_sub(step)).min(before));
        for n in before..wished.min(before + step) {
            if n / VEHICLES_PER_ROUTE >= self.routes.len() {
                self.routes.push(Route::new(self.routes.len(), &mut self.random));
            }
            self.vehicles.push(Vehicle::new(n, &self.routes, &mut self.random));
        }
        let appeared = self.vehicles.iter().skip(before);
        let appeared =
            appeared.map(|one| (one.id.as_str(), one.telemetry(&self.routes[one.route]))).collect();
        (appeared, gone.into_iter().map(|vehicle| vehicle.id).collect())
    }

    /// True if a vehicle of the city could have this name.
    pub(crate) fn could_be_named(id: &str) -> bool {
        let number = id.strip_prefix("bus-").or(id.strip_prefix("tram-"));
        number.is_some_and(|number| {
            number.len() >= 3 && number.bytes().all(|digit| digit.is_ascii_digit())
        })
    }

    /// Lets a tenth of a second pass. Returns the vehicles with a new report.
    pub(crate) fn tick(&mut self) -> Vec<(&str, Telemetry)> {
        let phase = self.ticks % TICKS_PER_SECOND;
        self.ticks += 1;
        let mut news = Vec::new();
        for vehicle in self.vehicles.iter_mut().skip(phase).step_by(TICKS_PER_SECOND) {
            let route = &self.routes[vehicle.route];
            if vehicle.step(route, &mut self.random) {
                news.push((vehicle.id.as_str(), vehicle.telemetry(route)));
            }
        }
        news
    }

    /// Every vehicle as it is now.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, Telemetry)> {
        self.vehicles
            .iter()
            .map(|vehicle| (vehicle.id.as_str(), vehicle.telemetry(&self.routes[vehicle.route])))
    }

    pub(crate) fn summary(&self) -> Summary {
        let speeds =
            self.vehicles.iter().map(|vehicle| vehicle.speed_mps).filter(|speed| *speed > 0.0);
        let moving = speeds.clone().count();
        Summary {
            vehicles: self.vehicles.len(),
            moving,
            stopped: self.vehicles.len() - moving,
            passengers: self.vehicles.iter().map(|vehicle| vehicle.passengers).sum(),
            mean_speed_mps: rounded(speeds.sum::<f64>() / moving.max(1) as f64, 2),
        }
    }

    /// A bus to show: `bus-017` if there is one.
    pub(crate) fn example(&self) -> &str {
        let mut buses = self.vehicles.iter().filter(|vehicle| vehicle.id.starts_with("bus"));
        let ids = || self.vehicles.iter().map(|vehicle| vehicle.id.as_str());
        ids()
            .find(|id| *id == "bus-017")
            .or(buses.next().map(|bus| bus.id.as_str()))
            .unwrap_or("bus-001")
    }
}

impl Route {
    fn new(number: usize, random: &mut Random) -> Route {
        let tram = number % TRAM_EVERY == TRAM_EVERY - 1;
        let west = random.whole(0, AVENUES - 4);
        let south = random.whole(0, STREETS.len() - 4);
        Route {
            name: if tram {
                format!("T{}", number / TRAM_EVERY + 1)
            } else {
                (number + 10).to_string()
            },
            tram,
            west,
            south,
            east: random.whole(west + 3, AVENUES),
            north: random.whole(south + 3, STREETS.len()),
        }
    }

    fn width_m(&self) -> f64 {
        (self.east - self.west) as f64 * BLOCK_EAST_M
    }

    fn height_m(&self) -> f64 {
        (self.north - self.south) as f64 * BLOCK_NORTH_M
    }

    fn length_m(&self) -> f64 {
        2.0 * (self.width_m() + self.height_m())
    }

    /// Position on the route after so many metres: metres east and north of its south-west corner,
    /// and the heading. The way round is clockwise: north, east, south, west.
    fn place(&self, at_m: f64) -> (f64, f64, u32) {
        let (width, height) = (self.width_m(), self.height_m());
        match at_m {
            at if at < height => (0.0, at, 0),
            at if at < height + width => (at - height, height, 90),
            at if at < 2.0 * height + width => (width, 2.0 * height + width - at, 180),
            at => (self.length_m() - at, 0.0, 270),
        }
    }

    /// Positions of the stops, in metres along the route, in order: every other crossing of the way
    /// round.
    fn stops(&self) -> impl Iterator<Item = f64> {
        let (north, east) = (self.north - self.south, self.east - self.west);
        let sides = [
            (north, BLOCK_NORTH_M),
            (east, BLOCK_EAST_M),
            (north, BLOCK_NORTH_M),
            (east, BLOCK_EAST_M),
        ];
        let blocks =
            sides.into_iter().flat_map(|(blocks, metres)| std::iter::repeat_n(metres, blocks));
        let crossings = blocks.scan(0.0, |at, metres| {
            let here = *at;
            *at += metres;
            Some(here)
        });
        crossings.step_by(2)
    }

    /// The distance from `at_m` to the next stop, and its name.
    fn next_stop(&self, at_m: f64) -> (f64, String) {
        let stop = self.stops().find(|stop| *stop > at_m);
        // The first stop is at 0, where the way round ends.
        let stop = stop.unwrap_or_else(|| self.length_m());
        let (east_m, north_m, _) = self.place(stop % self.length_m());
        let avenue = self.west + (east_m / BLOCK_EAST_M).round() as usize;
        let street = self.south + (north_m / BLOCK_NORTH_M).round() as usize;
        (stop - at_m, format!("{} St & {} Ave", STREETS[street], ordinal(avenue + 1)))
    }
}

impl Vehicle {
    fn new(number: usize, routes: &[Route], random: &mut Random) -> Vehicle {
        let route = number % routes.len();
        let kind = if routes[route].tram { "tram" } else { "bus" };
        Vehicle {
            id: format!("{kind}-{:03}", number + 1),
            route,
            at_m: random.between(0.0, routes[route].length_m()),
            speed_mps: 0.0,
            cruise_mps: random.between(8.0, 14.0),
            waits_s: random.between(0.0, 10.0).floor(),
            passengers: random.whole(0, SEATS as usize / 2) as u32,
        }
    }

    /// Lets one second pass. True if there is a new report.
    fn step(&mut self, route: &Route, random: &mut Random) -> bool {
        if self.waits_s > 0.0 {
            self.waits_s -= STEP_S;
            return false;
        }
        let (ahead_m, _) = route.next_stop(self.at_m);
        let can_brake = (2.0 * BRAKING_MPS2 * ahead_m).sqrt();
        self.speed_mps =
            (self.speed_mps + ACCELERATION_MPS2 * STEP_S).min(self.cruise_mps).min(can_brake);
        // The last few metres are not worth a step of their own.
        if ahead_m <= self.speed_mps * STEP_S + 1.0 {
            // Stops are at whole metres. Just before one, rounding errors would make it the next
            // stop again.
            self.at_m = (self.at_m + ahead_m).round() % route.length_m();
            self.speed_mps = 0.0;
            self.waits_s = random.between(6.0, 25.0).floor();
            let off = random.whole(0, self.passengers as usize / 2 + 1) as u32;
            let on = random.whole(0, 14) as u32;
            self.passengers = (self.passengers - off + on).min(SEATS);
        } else {
            self.at_m += self.speed_mps * STEP_S;
        }
        true
    }

    fn telemetry(&self, route: &Route) -> Telemetry {
        let (east_m, north_m, heading_deg) = route.place(self.at_m);
        let north_m = north_m + route.south as f64 * BLOCK_NORTH_M;
        let east_m = east_m + route.west as f64 * BLOCK_EAST_M;
        Telemetry {
            route: route.name.clone(),
            status: if self.speed_mps > 0.0 { "moving" } else { "stopped" },
            position: Position { lat: latitude(north_m), lon: longitude(east_m) },
            heading_deg,
            speed_mps: rounded(self.speed_mps, 1),
            passengers: self.passengers,
            next_stop: route.next_stop(self.at_m).1,
        }
    }
}

fn latitude(north_m: f64) -> f64 {
    rounded(ORIGIN_LAT + north_m / METRES_PER_DEGREE, 6)
}

fn longitude(east_m: f64) -> f64 {
    rounded(ORIGIN_LON + east_m / (METRES_PER_DEGREE * ORIGIN_LAT.to_radians().cos()), 6)
}

fn rounded(number: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (number * scale).round() / scale
}

fn ordinal(number: usize) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn owned(news: Vec<(&str, Telemetry)>) -> Vec<(String, Telemetry)> {
        news.into_iter().map(|(id, telemetry)| (id.to_owned(), telemetry)).collect()
    }

    #[test]
    fn the_same_seed_is_the_same_city() {
        let (mut one, mut two, mut other) =
            (Fleet::new(40, 7), Fleet::new(40, 7), Fleet::new(40, 8));
        let mut differs = false;
        for _ in 0..300 {
            let news = owned(one.tick());
            assert_eq!(news, owned(two.tick()));
            differs |= news != owned(other.tick());
        }
        assert!(differs);
    }

    #[test]
    fn vehicles_stay_on_streets_and_move_as_fast_as_they_say() {
        let mut fleet = Fleet::new(60, 1);
        let mut last: HashMap<String, Telemetry> =
            fleet.all().map(|(id, telemetry)| (id.to_owned(), telemetry)).collect();
        let mut stopped = 0;
        for _ in 0..600 * TICKS_PER_SECOND {
            for (id, now) in owned(fleet.tick()) {
                let north_m = (now.position.lat - ORIGIN_LAT) * METRES_PER_DEGREE;
                let east_m = (now.position.lon - ORIGIN_LON)
                    * METRES_PER_DEGREE
                    * ORIGIN_LAT.to_radians().cos();
                let off = |metres: f64, block: f64| {
                    (metres / block - (metres / block).round()).abs() * block
                };
                assert!(
                    off(north_m, BLOCK_NORTH_M) < 0.2 || off(east_m, BLOCK_EAST_M) < 0.2,
                    "{id} {now:?}"
                );
                assert!(now.speed_mps <= 14.0 && now.passengers <= SEATS, "{id} {now:?}");
                let before = last.insert(id.clone(), now.clone()).unwrap();
                let moved_m = (now.position.lat - before.position.lat).abs() * METRES_PER_DEGREE
                    + (now.position.lon - before.position.lon).abs() * METRES_PER_DEGREE;
                assert!(moved_m < 30.0, "{id}: {before:?}, then {now:?}");
                stopped += usize::from(now.status == "stopped");
            }
        }
        assert!(stopped > 60, "{stopped}");
    }

    #[test]
    fn only_some_vehicles_tell_something_at_a_time() {
        let mut fleet = Fleet::new(300, 1);
        for _ in 0..200 {
            let told = fleet.tick().len();
            assert!(told <= 30, "{told}");
        }
        let summary = fleet.summary();
        assert_eq!((summary.vehicles, summary.moving + summary.stopped), (300, 300));
        assert!(summary.moving > 50 && summary.stopped > 20, "{summary:?}");
    }

    #[test]
    fn a_route_leads_round_a_rectangle() {
        let route = Route { name: "1".into(), tram: false, west: 0, south: 0, east: 3, north: 4 };
        assert_eq!(route.length_m(), 2.0 * (3.0 * BLOCK_EAST_M + 4.0 * BLOCK_NORTH_M));
        assert_eq!(route.place(0.0), (0.0, 0.0, 0));
        assert_eq!(route.place(4.0 * BLOCK_NORTH_M), (0.0, 640.0, 90));
        assert_eq!(route.place(640.0 + 660.0), (660.0, 640.0, 180));
        assert_eq!(route.place(640.0 + 660.0 + 640.0), (660.0, 0.0, 270));
        assert_eq!(route.stops().count(), 7);
        assert_eq!(route.next_stop(0.0), (320.0, "Canal St & 1st Ave".to_owned()));
        assert_eq!(route.next_stop(2550.0), (50.0, "Ash St & 1st Ave".to_owned()));
    }

    #[test]
    fn the_city_grows_and_shrinks_a_step_at_a_time() {
        let mut fleet = Fleet::new(20, 1);
        let before = owned(fleet.all().collect());
        let (appeared, gone) = fleet.resize(60, 30);
        let appeared = owned(appeared);
        assert_eq!((appeared.len(), gone.len()), (30, 0));
        assert!(appeared.iter().all(|(id, _)| Fleet::could_be_named(id)));
        assert_eq!(owned(fleet.all().collect()), [before.clone(), appeared].concat());
        assert_eq!(fleet.resize(60, 30).0.len(), 10);
        let (appeared, gone) = fleet.resize(60, 30);
        assert!(appeared.is_empty() && gone.is_empty());
        assert_eq!(fleet.resize(20, 30).1.len(), 30);
        assert_eq!(fleet.resize(20, 30).1.len(), 10);
        assert_eq!(owned(fleet.all().collect()), before);
        let names: std::collections::HashSet<String> = owned({
            fleet.resize(500, 500);
            fleet.all().collect()
        })
        .into_iter()
        .map(|(id, _)| id)
        .collect();
        assert_eq!(names.len(), 500);
        assert!(!Fleet::could_be_named("bus-1") && !Fleet::could_be_named("car-001"));
    }

    #[test]
    fn there_is_a_bus_to_show() {
        assert_eq!(Fleet::new(300, 1).example(), "bus-017");
        assert_eq!(Fleet::new(1, 1).example(), "bus-001");
    }
}
