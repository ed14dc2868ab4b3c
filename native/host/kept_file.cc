#include "host/kept_file.h"

#include <cerrno>
#include <charconv>
#include <system_error>
#include <utility>

#ifndef _WIN32
#include <fcntl.h>
#include <unistd.h>
#endif

namespace aspired {

#ifdef _WIN32
// None of the files exists there.
KeptFile::KeptFile(const std::string&) {}
KeptFile::~KeptFile() = default;
std::optional<std::string_view> KeptFile::Read(std::span<char>) const {
  return std::nullopt;
}
#else
KeptFile::KeptFile(const std::string& path)
    : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}

KeptFile::~KeptFile() {
  if (fd_ >= 0) ::close(fd_);
}

std::optional<std::string_view> KeptFile::Read(std::span<char> buffer) const {
  if (fd_ < 0) return std::nullopt;
  size_t size = 0;
  while (size < buffer.size()) {
    const ssize_t count =
        ::pread(fd_, buffer.data() + size, buffer.size() - size,
                static_cast<off_t>(size));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return std::nullopt;
    size += static_cast<size_t>(count);
    // The kernel hands out a small file whole, and ends it with a newline: no
    // second call to learn that there is no more.
    if (count == 0 || buffer[size - 1] == '\n') break;
  }
  return std::string_view(buffer.data(), size);
}
#endif

KeptFile::KeptFile(KeptFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)) {}

KeptFile& KeptFile::operator=(KeptFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

std::optional<uint64_t> ParseNumber(std::string_view text) {
  const size_t start = text.find_first_not_of(" \t");
  if (start == std::string_view::npos) return std::nullopt;
  text.remove_prefix(start);
  uint64_t value = 0;
  const auto result =
      std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc()) return std::nullopt;
  return value;
}

std::string_view TakeUntil(std::string_view& rest, char separator) {
  const size_t end = rest.find(separator);
  const std::string_view taken = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return taken;
}

std::optional<uint64_t> FindNumber(std::string_view text,
                                   std::string_view key) {
  while (!text.empty()) {
    const std::string_view line = TakeUntil(text, '\n');
    if (line.size() > key.size() && line.starts_with(key) &&
        line[key.size()] == ' ') {
      return ParseNumber(line.substr(key.size()));
    }
  }
  return std::nullopt;
}

}  // namespace aspired
