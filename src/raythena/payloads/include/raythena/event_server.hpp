// Client of Raythena's event-server protocol, version 1, for C++17 programs. One header, no dependencies but POSIX.
//
//     raythena::EventServer server;                      // reads RAYTHENA_SOCKET, RAYTHENA_WORKER, RAYTHENA_SCRATCH
//     raythena::Event event;
//     while (server.next(event)) {
//         const std::string path = server.new_output(event, ".dat");
//         if (simulate(event.pfn, event.first, event.last, path)) server.done(path);
//         else server.failed("no convergence");
//     }
//     return 0;                                          // next() is false once the server drains this worker, or is gone
//
// Rules: each event is answered with exactly one of done, done_bytes or failed before next() is called again; each output has a
// name of its own, or is a stretch of the spool (done_bytes), which is much cheaper than a file for each small event. Results are sent
// at once: a program that dies afterwards is not blamed for an event it had finished. Errors of use and of the system are
// std::runtime_error. Safe to use from several threads, if each answers the events that it was given itself.
#ifndef RAYTHENA_EVENT_SERVER_HPP
#define RAYTHENA_EVENT_SERVER_HPP

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace raythena {

/// One range of events to compute: `first` to `last`, both included, of the file `pfn`.
struct Event {
    std::string token;  ///< what the server calls this attempt; results refer to it
    std::string id;     ///< what people call the range
    std::string lfn, pfn, guid;
    std::int64_t first = 0, last = 0;
    int attempt = 1;  ///< how often the range has failed before, and one more
    double started_at = 0;                        ///< wall-clock seconds since the epoch
    std::chrono::steady_clock::time_point start;  ///< the same moment
    double cpu_s = 0;                             ///< what the process, or with several ranges in flight the thread, had used by then
    std::vector<std::int64_t> seeds;  ///< one for each event, in a job without input files (whose pfn is empty)

    /// The seed of the first event. Throws in a job with input files, whose events have none.
    std::int64_t seed() const {
        if (seeds.empty()) throw std::runtime_error("raythena: event range " + id + " has no seed: its events come from a file");
        return seeds.front();
    }
};

namespace detail {

/// A JSON value as far as the protocol needs it: text, an integer, or a list of either.
struct Value {
    std::string text;
    std::int64_t number = 0;
    std::vector<std::string> list;
    std::vector<std::int64_t> numbers;
};

/// Reads one flat JSON object. Understands all of JSON's strings, integers, true, false, null and lists of strings or integers.
class Reader {
public:
    explicit Reader(const std::string& line) : at_(line.data()), end_(line.data() + line.size()) {}

    std::map<std::string, Value> object() {
        std::map<std::string, Value> fields;
        expect('{');
        if (peek() == '}') return ++at_, fields;
        for (;;) {
            const std::string name = string();
            expect(':');
            fields[name] = value();
            if (peek() == '}') return ++at_, fields;
            expect(',');
        }
    }

private:
    const char* at_;
    const char* end_;

    [[noreturn]] static void refuse(const std::string& what) { throw std::runtime_error("raythena: the server sent " + what); }

    char peek() {
        while (at_ < end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\r' || *at_ == '\n')) ++at_;
        if (at_ == end_) refuse("an incomplete message");
        return *at_;
    }

    void expect(char wanted) {
        if (peek() != wanted) refuse(std::string("a message without '") + wanted + "' where one belongs");
        ++at_;
    }

    Value value() {
        Value result;
        const char c = peek();
        if (c == '"') {
            result.text = string();
        } else if (c == '[') {
            ++at_;
            while (peek() != ']') {
                if (peek() == '"') result.list.push_back(string());
                else result.numbers.push_back(integer(word()));
                if (peek() == ',') ++at_;
            }
            ++at_;
        } else {
            const std::string text = word();
            if (text == "true") result.number = 1;
            else if (text != "false" && text != "null") result.number = integer(text);
        }
        return result;
    }

    std::string word() {
        std::string text;
        while (at_ < end_ && *at_ != ',' && *at_ != '}' && *at_ != ']' && *at_ != ' ') text += *at_++;
        return text;
    }

    static std::int64_t integer(const std::string& word) {
        char* rest = nullptr;
        errno = 0;
        const long long number = std::strtoll(word.c_str(), &rest, 10);
        if (word.empty() || *rest != '\0' || errno != 0) refuse("the number " + word);
        return number;
    }

    std::string string() {
        expect('"');
        std::string text;
        for (;;) {
            if (at_ == end_) refuse("an unfinished string");
            const char c = *at_++;
            if (c == '"') return text;
            if (c == '\\') escape(text);
            else text += c;
        }
    }

    void escape(std::string& text) {
        if (at_ == end_) refuse("an unfinished string");
        const char c = *at_++;
        switch (c) {
            case 'b': text += '\b'; break;
            case 'f': text += '\f'; break;
            case 'n': text += '\n'; break;
            case 'r': text += '\r'; break;
            case 't': text += '\t'; break;
            case 'u': append_utf8(text, code_point()); break;
            case '"': case '\\': case '/': text += c; break;
            default: refuse("an unknown escape in a string");
        }
    }

    std::uint32_t hex4() {
        std::uint32_t code = 0;
        for (int i = 0; i < 4; ++i) {
            if (at_ == end_) refuse("an unfinished string");
            const char c = *at_++;
            code <<= 4;
            if (c >= '0' && c <= '9') code += static_cast<std::uint32_t>(c - '0');
            else if (c >= 'a' && c <= 'f') code += static_cast<std::uint32_t>(c - 'a' + 10);
            else if (c >= 'A' && c <= 'F') code += static_cast<std::uint32_t>(c - 'A' + 10);
            else refuse("a \\u escape that is not hexadecimal");
        }
        return code;
    }

    /// A character outside the basic plane comes as two escapes, a high and a low surrogate.
    std::uint32_t code_point() {
        const std::uint32_t high = hex4();
        if (high < 0xD800 || high > 0xDFFF) return high;
        if (high > 0xDBFF || end_ - at_ < 6 || at_[0] != '\\' || at_[1] != 'u') refuse("half a surrogate pair");
        at_ += 2;
        const std::uint32_t low = hex4();
        if (low < 0xDC00 || low > 0xDFFF) refuse("half a surrogate pair");
        return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
    }

    static void append_utf8(std::string& text, std::uint32_t code) {
        const auto tail = [&](int shift) { text += static_cast<char>(0x80 | ((code >> shift) & 0x3F)); };
        if (code < 0x80) {
            text += static_cast<char>(code);
        } else if (code < 0x800) {
            text += static_cast<char>(0xC0 | (code >> 6));
            tail(0);
        } else if (code < 0x10000) {
            text += static_cast<char>(0xE0 | (code >> 12));
            tail(6), tail(0);
        } else {
            text += static_cast<char>(0xF0 | (code >> 18));
            tail(12), tail(6), tail(0);
        }
    }
};

/// Length of the UTF-8 character that begins at `at`, 0 if there is none.
inline std::size_t utf8_length(const std::string& text, std::size_t at) {
    const auto byte = [&](std::size_t i) -> unsigned { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
    const unsigned lead = byte(at);
    if (lead < 0x80) return 1;
    const std::size_t length = lead >= 0xC2 && lead < 0xE0 ? 2 : (lead & 0xF0) == 0xE0 ? 3 : lead >= 0xF0 && lead < 0xF5 ? 4 : 0;
    for (std::size_t i = 1; i < length; ++i)
        if ((byte(at + i) & 0xC0) != 0x80) return 0;
    const unsigned next = byte(at + 1);
    const bool overlong = (lead == 0xE0 && next < 0xA0) || (lead == 0xF0 && next < 0x90);
    const bool outside = (lead == 0xED && next > 0x9F) || (lead == 0xF4 && next > 0x8F);
    return overlong || outside ? 0 : length;
}

/// `text` as a JSON string. What is not UTF-8 becomes U+FFFD: a reason is for people, and must not end the conversation.
inline std::string quoted(const std::string& text) {
    std::string out = "\"";
    for (std::size_t at = 0; at < text.size();) {
        const auto c = static_cast<unsigned char>(text[at]);
        const std::size_t length = utf8_length(text, at);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += text[at];
        } else if (c < 0x20) {
            char code[8];
            std::snprintf(code, sizeof code, "\\u%04x", c);
            out += code;
        } else if (length == 0) {
            out += "\xEF\xBF\xBD";
        } else {
            out.append(text, at, length);
        }
        at += length == 0 ? 1 : length;
    }
    return out + '"';
}

inline std::runtime_error system_error(const std::string& what) {
    return std::runtime_error("raythena: " + what + ": " + std::strerror(errno));
}

inline std::string variable(const char* name) {
    const char* value = std::getenv(name);
    if (value == nullptr) throw std::runtime_error(std::string("raythena: ") + name + " is not set: not started by Raythena?");
    return value;
}

inline double cpu_seconds(bool of_thread) {
    timespec now{};
    clock_gettime(of_thread ? CLOCK_THREAD_CPUTIME_ID : CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// A count in the environment; 1 when it is not said.
inline int count(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? 1 : std::max(1, std::atoi(value));
}

inline double epoch_seconds() {
    timeval now{};
    gettimeofday(&now, nullptr);
    return static_cast<double>(now.tv_sec) + 1e-6 * static_cast<double>(now.tv_usec);
}

}  // namespace detail

/// The connection of this worker to its server. With several ranges in flight each thread has an Event of its own, asks with
/// next(event) and answers with the functions that take the event; they may be called side by side.
class EventServer {
public:
    EventServer() : scratch_(detail::variable("RAYTHENA_SCRATCH")), worker_(std::atoi(detail::variable("RAYTHENA_WORKER").c_str())) {
        const std::string path = detail::variable("RAYTHENA_SOCKET");
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        if (path.size() >= sizeof address.sun_path) throw std::runtime_error("raythena: the path in RAYTHENA_SOCKET is too long");
        std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
        socket_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (socket_ < 0) throw detail::system_error("no socket");
        if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
            throw detail::system_error("connecting to " + path);
        say("\"type\":\"ready\",\"version\":1,\"pid\":" + std::to_string(::getpid()));
    }

    ~EventServer() {
        if (spool_ >= 0) ::close(spool_);
        if (socket_ >= 0) ::close(socket_);
    }

    EventServer(const EventServer&) = delete;
    EventServer& operator=(const EventServer&) = delete;

    /// Directory for outputs; nothing else may be relied on to be writable.
    const std::string& scratch() const { return scratch_; }

    /// Number of this worker on its node, from 0.
    int worker() const { return worker_; }

    /// Cores of this worker.
    int cores() const { return cores_; }

    /// Ranges this worker is to compute at a time: as many threads may loop over next().
    int ranges_in_flight() const { return ranges_in_flight_; }

    /// Wait for the next event. False at the end: leave the program then, with status 0.
    bool next(Event& event) {
        const std::lock_guard<std::mutex> lock(receiving_);
        check_answered();
        receive(false);
        while (ranges_.empty() && !draining_) receive(true);
        if (draining_) return false;
        event = ranges_.front();
        ranges_.pop_front();
        event.started_at = detail::epoch_seconds();
        event.start = std::chrono::steady_clock::now();
        event.cpu_s = cpu_seconds();
        const std::lock_guard<std::mutex> opening(sending_);
        open_.insert(event.token);
        if (ranges_in_flight_ == 1) current_ = event;
        return true;
    }

    /// A path in the scratch directory that no other event uses.
    std::string new_output(const Event& event, const std::string& suffix = "") const {
        return scratch_ + "/" + event.token + suffix;
    }

    /// The current event's output is complete in the file `path`, written for this event alone.
    void done(const std::string& path) { done(current_, path); }
    void done(const Event& event, const std::string& path) { finish(event, result(event, path)); }

    /// Append to the worker's spool and report that stretch.
    void done_bytes(const void* data, std::size_t size) { done_bytes(current_, data, size); }
    void done_bytes(const std::string& data) { done_bytes(current_, data.data(), data.size()); }
    void done_bytes(const Event& event, const std::string& data) { done_bytes(event, data.data(), data.size()); }
    void done_bytes(const Event& event, const void* data, std::size_t size) {
        const std::lock_guard<std::mutex> lock(spooling_);  // stretches are reported in the order in which they lie in the spool
        const std::uint64_t offset = append(data, size);
        finish(event, stretch(event, offset) + ",\"size\":" + std::to_string(size));
    }

    /// The output of the event in each stream of the job, by name.
    void done_streams(const std::vector<std::pair<std::string, std::string>>& outputs) { done_streams(current_, outputs); }
    void done_streams(const Event& event, const std::vector<std::pair<std::string, std::string>>& outputs) {
        done_bytes(event, bundled(outputs));
    }

    /// The outputs of an event in each stream as one, as done_each() takes it.
    static std::string bundled(const std::vector<std::pair<std::string, std::string>>& outputs) {
        std::string header, contents;
        for (const auto& [name, content] : outputs) {
            header += (header.empty() ? "[" : ",[") + detail::quoted(name) + "," + std::to_string(content.size()) + "]";
            contents += content;
        }
        return "{\"streams\":[" + header + "]}\n" + contents;
    }

    /// The outputs of a range of several events, one for each from `first` to `last`: appended to the worker's spool.
    void done_each(const Event& event, const std::vector<std::string>& outputs) {
        std::string all, sizes;
        for (const std::string& output : outputs) {
            all += output;
            sizes += (sizes.empty() ? "" : ",") + std::to_string(output.size());
        }
        const std::lock_guard<std::mutex> lock(spooling_);
        const std::uint64_t offset = append(all.data(), all.size());
        finish(event, stretch(event, offset) + ",\"sizes\":[" + sizes + "]");
    }

    /// The current event could not be computed.
    void failed(const std::string& reason) { failed(current_, reason); }
    void failed(const Event& event, const std::string& reason) {
        const std::string end = reason.size() > kLongestReason ? reason.substr(reason.size() - kLongestReason) : reason;
        finish(event, "\"type\":\"failed\",\"range\":" + detail::quoted(event.token) + ",\"reason\":" + detail::quoted(end));
    }

private:
    static constexpr std::uint64_t kSpoolBytes = 64U << 20;
    static constexpr int kSpoolEvents = 20000;
    static constexpr std::size_t kLongestReason = 8000;

    std::string scratch_;
    int worker_ = 0;
    int cores_ = detail::count("RAYTHENA_WORKER_CORES");
    int ranges_in_flight_ = detail::count("RAYTHENA_RANGES_IN_FLIGHT");
    int socket_ = -1;
    std::mutex receiving_, sending_, spooling_;
    std::string pending_;
    std::deque<Event> ranges_;
    std::atomic<bool> draining_{false};
    std::set<std::string> open_;  ///< tokens of events that are not answered
    Event current_;
    int spool_ = -1;
    int spools_ = 0;
    int spool_events_ = 0;
    std::uint64_t spool_end_ = 0;
    std::string spool_path_;

    double cpu_seconds() const { return detail::cpu_seconds(ranges_in_flight_ > 1); }

    void check_answered() {
        const std::lock_guard<std::mutex> lock(sending_);
        if (open_.size() < static_cast<std::size_t>(ranges_in_flight_)) return;
        const std::string which = ranges_in_flight_ == 1 ? "event " + current_.id + " was" : "more events than are in flight were";
        throw std::runtime_error("raythena: " + which + " answered with neither done nor failed");
    }

    /// Append to the spool; where the data begins.
    std::uint64_t append(const void* data, std::size_t size) {
        if (spool_ < 0 || spool_end_ >= kSpoolBytes || spool_events_ >= kSpoolEvents) new_spool();
        const std::uint64_t offset = spool_end_;
        const char* from = static_cast<const char*>(data);
        for (std::size_t left = size; left > 0;) {
            const ssize_t written = ::write(spool_, from, left);
            if (written < 0 && errno == EINTR) continue;
            if (written < 0) {
                const std::runtime_error problem = detail::system_error("writing " + spool_path_);
                ::close(spool_);  // it may have taken a part: nothing must be appended to that
                spool_ = -1;
                throw problem;
            }
            from += written;
            left -= static_cast<std::size_t>(written);
        }
        spool_end_ += size;
        ++spool_events_;
        return offset;
    }

    std::string stretch(const Event& event, std::uint64_t offset) const {
        return result(event, spool_path_) + ",\"offset\":" + std::to_string(offset);
    }

    void new_spool() {
        if (spool_ >= 0) ::close(spool_);
        spool_path_ = scratch_ + "/spool-" + std::to_string(++spools_);
        spool_ = ::open(spool_path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (spool_ < 0) throw detail::system_error("creating " + spool_path_);
        spool_end_ = 0;
        spool_events_ = 0;
    }

    std::string result(const Event& event, const std::string& path) const {
        const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - event.start;
        const double cpu_s = cpu_seconds() - event.cpu_s;
        char times[160];
        std::snprintf(times, sizeof times, ",\"cpu_s\":%lld.%06d,\"wall_s\":%lld.%06d,\"started_at\":%lld.%06d", whole(cpu_s),
                      micro(cpu_s), whole(wall.count()), micro(wall.count()), whole(event.started_at), micro(event.started_at));
        return "\"type\":\"done\",\"range\":" + detail::quoted(event.token) + ",\"output\":" + detail::quoted(path) + times;
    }

    // Printed as integers because %f writes a comma in some locales, and the host program may have chosen one.
    static long long whole(double seconds) { return seconds > 0 ? static_cast<long long>(seconds) : 0; }
    static int micro(double seconds) { return seconds > 0 ? static_cast<int>((seconds - static_cast<double>(whole(seconds))) * 1e6) : 0; }

    void finish(const Event& event, const std::string& fields) {
        const std::lock_guard<std::mutex> lock(sending_);
        if (open_.erase(event.token) == 0) throw std::runtime_error("raythena: no event is waiting for an answer");
        send(fields);
    }

    void say(const std::string& fields) {
        const std::lock_guard<std::mutex> lock(sending_);
        send(fields);
    }

    void send(const std::string& fields) {
        const std::string line = "{" + fields + "}\n";
        for (std::size_t sent = 0; sent < line.size();) {
            const ssize_t n = ::send(socket_, line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) {
                draining_ = true;  // the server is gone: end like a drained worker
                return;
            }
            sent += static_cast<std::size_t>(n);
        }
    }

    void receive(bool wait) {
        char buffer[1 << 16];
        const ssize_t n = ::recv(socket_, buffer, sizeof buffer, wait ? 0 : MSG_DONTWAIT);
        if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (n <= 0) {
            draining_ = true;
            return;
        }
        pending_.append(buffer, static_cast<std::size_t>(n));
        std::size_t begin = 0;
        for (std::size_t end; (end = pending_.find('\n', begin)) != std::string::npos; begin = end + 1)
            obey(pending_.substr(begin, end - begin));
        pending_.erase(0, begin);
    }

    void obey(const std::string& line) {
        auto message = detail::Reader(line).object();
        const std::string type = message["type"].text;
        if (type == "range") {
            Event event;
            event.token = message["range"].text;
            event.id = message["id"].text;
            event.lfn = message["lfn"].text;
            event.pfn = message["pfn"].text;
            event.guid = message["guid"].text;
            event.first = message["first"].number;
            event.last = message["last"].number;
            event.attempt = static_cast<int>(message["attempt"].number);
            event.seeds = message["seeds"].numbers;
            ranges_.push_back(event);
        } else if (type == "cancel") {
            for (const std::string& token : message["ranges"].list) release(token);
        } else if (type == "drain") {
            draining_ = true;
            while (!ranges_.empty()) release(std::string(ranges_.back().token));
        }
    }

    void release(const std::string& token) {
        for (auto range = ranges_.begin(); range != ranges_.end(); ++range) {
            if (range->token == token) {
                ranges_.erase(range);
                say("\"type\":\"released\",\"range\":" + detail::quoted(token));
                return;
            }
        }
    }
};

}  // namespace raythena

#endif
