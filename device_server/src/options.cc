#include "options.h"

#include <charconv>
#include <functional>
#include <map>

#include "error.h"

namespace jointdnn {

const char kHelp[] =
    "usage: jointdnn-device [OPTION VALUE]...\n"
    "Serve this machine as a device to TVM RPC clients, without Python.\n\n"
    "  --tracker HOST:PORT   register with this tracker\n"
    "  --key WORD            what clients ask the tracker for (device)\n"
    "  --target NAME         the profile of this machine (host)\n"
    "  --host ADDRESS        address to listen at (127.0.0.1)\n"
    "  --port N              0: any free one (9090)\n"
    "  --cache DIR           where received files are kept (~/.cache/jointdnn/device)\n"
    "  --cache-bytes N       how much may be kept there (16 GiB)\n"
    "  --silence-s N         end a session whose client says nothing for so long (3600)\n"
    "  --until-stdin-closes  end with the process at the other end of standard input\n";

namespace {

int64_t Number(const std::string& option, const std::string& text, int64_t least, int64_t most) {
  int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, code] = std::from_chars(text.data(), end, number);
  if (code != std::errc() || rest != end || number < least || number > most) {
    throw Error(option + " takes a whole number from " + std::to_string(least) + " to " +
                std::to_string(most) + ", not '" + text + "'");
  }
  return number;
}

// A word that needs no quotes in the tracker's messages.
std::string Word(const std::string& option, const std::string& text) {
  static const std::string kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.+-";
  if (text.empty() || text.size() > 64 || text.find_first_not_of(kLetters) != std::string::npos) {
    throw Error(option + " takes up to 64 letters, digits and _.+-, not '" + text + "'");
  }
  return text;
}

}  // namespace

Options Options::Parse(int count, char** words) {
  constexpr int64_t kMost = int64_t{1} << 50;  // sums of a few such stay whole numbers
  Options options;
  const std::map<std::string, std::function<void(const std::string&)>> valued = {
      {"--tracker", [&](auto& text) { options.tracker = Address::Parse(text); }},
      {"--key", [&](auto& text) { options.key = Word("--key", text); }},
      {"--target", [&](auto& text) { options.target = Word("--target", text); }},
      {"--host", [&](auto& text) { options.address.host = text; }},
      {"--port", [&](auto& text) { options.address.port = int(Number("--port", text, 0, 65535)); }},
      {"--cache", [&](auto& text) { options.cache = text; }},
      {"--cache-bytes",
       [&](auto& text) { options.cache_bytes = Number("--cache-bytes", text, 1, kMost); }},
      {"--silence-s",
       [&](auto& text) { options.silence_s = double(Number("--silence-s", text, 1, 1'000'000)); }},
  };
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    if (word == "--help" || word == "-h") {
      options.help = true;
    } else if (word == "--until-stdin-closes") {
      options.until_stdin_closes = true;
    } else if (const auto option = valued.find(word); option == valued.end()) {
      throw Error("there is no option '" + word + "'; see --help");
    } else if (i + 1 == count) {
      throw Error(word + " needs a value; see --help");
    } else {
      option->second(words[++i]);
    }
  }
  if (options.address.host.empty()) throw Error("--host needs an address, as 127.0.0.1");
  return options;
}

}  // namespace jointdnn
