// Checks of the header's JSON, run by test_process.py. Exit status: number of failed checks.
#include <raythena/event_server.hpp>

#include <iostream>

static int failures = 0;

static void check(bool fine, const std::string& what) {
    if (!fine) {
        ++failures;
        std::cout << "FAILED: " << what << "\n";
    }
}

static std::string read(const std::string& json) {
    return raythena::detail::Reader("{\"x\":" + json + "}").object()["x"].text;
}

static bool refused(const std::string& line) {
    try {
        raythena::detail::Reader(line).object();
    } catch (const std::runtime_error&) {
        return true;
    }
    return false;
}

int main() {
    using raythena::detail::quoted;
    check(read("\"plain\"") == "plain", "plain text");
    check(read(R"("a\"b\\c\/d\b\f\n\r\t")") == "a\"b\\c/d\b\f\n\r\t", "short escapes");
    check(read(R"("\u0041\u00e9\u20ac")") == "A\xC3\xA9\xE2\x82\xAC", "\\u escapes");
    check(read(R"("\uD83D\uDE80")") == "\xF0\x9F\x9A\x80", "a surrogate pair");
    check(read("\"\xF0\x9F\x9A\x80\"") == "\xF0\x9F\x9A\x80", "UTF-8 as it is");
    check(read("\"\\u0000\"") == std::string(1, '\0'), "NUL");

    auto fields = raythena::detail::Reader(R"( { "a" : -12 , "b":[ "x" , "y" ], "c":null, "d":true, "e":[] } )").object();
    check(fields["a"].number == -12, "a number");
    check(fields["b"].list == std::vector<std::string>{"x", "y"}, "a list");
    const auto seeds = raythena::detail::Reader("{\"seeds\":[7,-8 , 900000000]}").object()["seeds"].numbers;
    check(seeds == std::vector<std::int64_t>{7, -8, 900000000}, "a list of numbers");
    raythena::Event event;
    try {
        event.seed();
        check(false, "an event of a file has no seed");
    } catch (const std::runtime_error&) {
    }
    event.seeds = seeds;
    check(event.seed() == 7, "the seed of the first event");
    const auto bundle = raythena::EventServer::bundled({{"HITS", std::string("a\0b", 3)}, {"LOG", "five\n"}});
    check(bundle == std::string("{\"streams\":[[\"HITS\",3],[\"LOG\",5]]}\na\0bfive\n", 43), "a bundle of streams");
    check(fields["d"].number == 1 && fields["e"].list.empty(), "true and an empty list");
    check(raythena::detail::Reader("{}").object().empty(), "an empty object");

    for (const char* line : {"", "{", "[]", R"({"a")", R"({"a":)", R"({"a":1)", R"({"a":x})", R"({"a":"\q"})", R"({"a":"\u12"})",
                             R"({"a":"\u12G4"})", R"({"a":"\uD83D"})", R"({"a":"\uD83Dx"})", R"({"a":"\uDE80"})",
                             R"({"a":99999999999999999999})", R"({"a":1 "b":2})", R"({"a":["x")", R"({"a":"\)"})
        check(refused(line), std::string("should be refused: ") + line);

    check(quoted("a\"b\\c\n\x01") == R"("a\"b\\c\u000a\u0001")", "escapes written");
    check(quoted("\xC3\xA9\xF0\x9F\x9A\x80") == "\"\xC3\xA9\xF0\x9F\x9A\x80\"", "UTF-8 written");
    const std::string odd = "\xEF\xBF\xBD";
    check(quoted("\xFF") == '"' + odd + '"', "a stray byte");
    check(quoted("\xC3") == '"' + odd + '"', "a character cut short");
    check(quoted("\xC0\x80") == '"' + odd + odd + '"', "an overlong form");
    check(quoted("\xED\xA0\x80") == '"' + odd + odd + odd + '"', "a surrogate");
    check(quoted("\xF4\x90\x80\x80") == '"' + odd + odd + odd + odd + '"', "beyond the last character");
    for (int byte = 1; byte < 256; ++byte) {
        const std::string text(1, static_cast<char>(byte));
        if (byte < 128) check(read(quoted(text)) == text, "round trip of byte " + std::to_string(byte));
    }
    return failures;
}
