// An event loop with several threads in one process: each thread computes an event of its own, all share what was loaded once.
//
//     threads [--event-ms T] [--range-ms T] [--crash N]... [--fail N]...
//
// With `cores_per_worker: 4` and `ranges_in_flight: 4` in the job file (see threads.yaml) one process fills four cores. A range may
// have several events (`events_per_range`); each has a line of JSON as its output. An event takes T milliseconds, in which the
// thread sleeps, so that the example shows the same on machines of any size; `--range-ms` is what a range takes before its first event,
// as opening a file does. The other options choose events that misbehave.
#include <raythena/event_server.hpp>

#include <csignal>
#include <iostream>
#include <set>
#include <thread>

namespace {

struct Options {
    double event_ms = 1, range_ms = 0;
    std::set<std::int64_t> crash, fail;
};

Options parse(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; ++i) {
        const std::string name = argv[i];
        if (i + 1 == argc) throw std::runtime_error(name + " needs a value");
        const std::string value = argv[++i];
        if (name == "--event-ms") options.event_ms = std::stod(value);
        else if (name == "--range-ms") options.range_ms = std::stod(value);
        else if (name == "--crash") options.crash.insert(std::stoll(value));
        else if (name == "--fail") options.fail.insert(std::stoll(value));
        else throw std::runtime_error("unknown option " + name);
    }
    return options;
}

void sleep_ms(double milliseconds) {
    if (milliseconds > 0) std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(milliseconds));
}

std::string simulate(std::int64_t number, const Options& options) {
    if (options.crash.count(number) != 0) std::raise(SIGSEGV);
    if (options.fail.count(number) != 0) throw std::runtime_error("event " + std::to_string(number) + " does not converge");
    sleep_ms(options.event_ms);
    return "{\"EventNumber\": " + std::to_string(number) + "}\n";
}

void compute(raythena::EventServer& server, const raythena::Event& range, const Options& options) {
    std::vector<std::string> outputs;
    sleep_ms(options.range_ms);
    try {
        for (std::int64_t number = range.first; number <= range.last; ++number) outputs.push_back(simulate(number, options));
    } catch (const std::exception& problem) {
        return server.failed(range, problem.what());
    }
    server.done_each(range, outputs);
}

}  // namespace

int main(int argc, char** argv) try {
    const Options options = parse(argc, argv);
    raythena::EventServer server;
    std::vector<std::thread> threads;
    for (int i = 0; i < server.ranges_in_flight(); ++i)
        threads.emplace_back([&] {
            raythena::Event range;
            while (server.next(range)) compute(server, range, options);
        });
    for (std::thread& thread : threads) thread.join();
    return 0;
} catch (const std::exception& problem) {
    std::cerr << "threads: " << problem.what() << std::endl;
    return 1;
}
