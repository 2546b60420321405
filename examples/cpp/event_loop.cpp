// A complete event loop in C++: computes nothing, but has every behaviour a real one has, good and bad.
//
//     event_loop [--mode file|spool] [--event-ms T] [--fail N]... [--crash N]... [--hang N]... [--bad-output N]...
//
// In mode `file` each event writes a file of its own; in mode `spool` all events of a worker share one file. An output is one
// line of JSON naming the event. The other options choose event numbers that misbehave, for tests.
#include <raythena/event_server.hpp>

#include <csignal>
#include <fstream>
#include <iostream>
#include <set>
#include <thread>

namespace {

struct Options {
    bool spool = false;
    double event_ms = 0;
    std::set<std::int64_t> fail, crash, hang, bad_output;
};

Options parse(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; ++i) {
        const std::string name = argv[i];
        if (i + 1 == argc) throw std::runtime_error(name + " needs a value");
        const std::string value = argv[++i];
        if (name == "--mode" && (value == "file" || value == "spool")) options.spool = value == "spool";
        else if (name == "--event-ms") options.event_ms = std::stod(value);
        else if (name == "--fail") options.fail.insert(std::stoll(value));
        else if (name == "--crash") options.crash.insert(std::stoll(value));
        else if (name == "--hang") options.hang.insert(std::stoll(value));
        else if (name == "--bad-output") options.bad_output.insert(std::stoll(value));
        else throw std::runtime_error("unknown option " + name + " " + value);
    }
    return options;
}

void burn(double milliseconds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double, std::milli>(milliseconds);
    volatile double energy = 1;
    while (std::chrono::steady_clock::now() < end) energy = energy * 1.0000001;
}

std::string simulate(const raythena::Event& event) {
    return "{\"lfn\": " + raythena::detail::quoted(event.lfn) + ", \"EventNumber\": " + std::to_string(event.first) + "}\n";
}

void compute(raythena::EventServer& server, const raythena::Event& event, const Options& options) {
    if (options.crash.count(event.first) != 0) std::raise(SIGSEGV);
    if (options.hang.count(event.first) != 0) std::this_thread::sleep_for(std::chrono::hours(1));
    if (options.fail.count(event.first) != 0) return server.failed("event " + std::to_string(event.first) + " is \"impossible\"");
    if (options.bad_output.count(event.first) != 0) return server.done(server.new_output(event, ".never-written"));
    if (options.event_ms > 0) burn(options.event_ms);
    if (options.spool) return server.done_bytes(simulate(event));
    const std::string path = server.new_output(event, ".json");
    std::ofstream file(path);
    file << simulate(event);
    file.close();
    if (file) server.done(path);
    else server.failed("writing " + path);
}

}  // namespace

int main(int argc, char** argv) try {
    const Options options = parse(argc, argv);
    raythena::EventServer server;
    raythena::Event event;
    while (server.next(event)) compute(server, event, options);
    return 0;
} catch (const std::exception& problem) {
    std::cerr << "event_loop: " << problem.what() << std::endl;
    return 1;
}
