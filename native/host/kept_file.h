// KeptFile: a small file of /proc or a cgroup that is read again and again.
//
// It is opened once and read from its start by pread: the kernel writes the
// text anew for each read, so what is read is what holds now.
//
// Thread-safety: const functions from any thread.
#ifndef ASPIRED_HOST_KEPT_FILE_H_
#define ASPIRED_HOST_KEPT_FILE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace aspired {

class KeptFile {
 public:
  // Room for the longest file read here (memory.stat: 2 to 4 KiB). What does
  // not fit is cut off.
  using Buffer = std::array<char, 16384>;

  KeptFile() = default;
  // A file that can't be opened reads as absent. Closed on exec.
  explicit KeptFile(const std::string& path);
  ~KeptFile();

  KeptFile(KeptFile&& other) noexcept;
  KeptFile& operator=(KeptFile&& other) noexcept;

  bool is_open() const { return fd_ >= 0; }
  // The text, in `buffer`; nullopt when it is absent or its cgroup is gone.
  std::optional<std::string_view> Read(std::span<char> buffer) const;

 private:
  int fd_ = -1;
};

// The number a text begins with, after blanks; nullopt when it begins with
// none ("max") or with more than 64 bits.
std::optional<uint64_t> ParseNumber(std::string_view text);
// The number after a line's first word, "MemTotal:" or "inactive_file".
std::optional<uint64_t> FindNumber(std::string_view text, std::string_view key);
// Cuts the first line, or field, off `rest` and answers it.
std::string_view TakeUntil(std::string_view& rest, char separator);

}  // namespace aspired

#endif  // ASPIRED_HOST_KEPT_FILE_H_
